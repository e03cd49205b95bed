"""Configuration files that cannot be read: each mistake is one line with the file and the line in it."""

import json
from copy import deepcopy

import pytest

from vaebench.base.errors import UserError
from vaebench.config.yaml_files import check_command_line, read_as_yaml, read_configfile


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="mine.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return name

    return write


def test_yaml_and_json_are_read(write):
    assert read_configfile(write("a: {b: [1, 2]}\nc: null\n")) == {"a": {"b": [1, 2]}, "c": None}
    assert read_configfile(write(json.dumps({"a": 1}, indent="\t"))) == {"a": 1}


def test_a_merged_mapping_may_be_overridden(write):
    assert read_configfile(write("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"))["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 2\nd: 3\n", "mine.yaml, line 3: expected ',' or '}', but got ':'; while parsing a flow mapping"),
        ("a: 1\nb:\n\tc: 2\n", r"mine.yaml, line 3: found character '\t' that cannot start any token; .*spaces, not"),
        ("a: 1\nsource: C: x\n", "mine.yaml, line 2: mapping values are not allowed here; put a value"),
        (
            "a: 'x\nb: 2\n",
            "mine.yaml, line 3: found unexpected end of stream; while scanning a quoted scalar that begins",
        ),
        (
            "models:\n  a: 1\nseeds: [0]\nmodels:\n  b: 1\n",
            "mine.yaml, line 4: the key models stands in line 1 already",
        ),
        ("models:\n  vae: {x: 1}\n  vae: {x: 2}\n", "mine.yaml, line 3: the key vae stands in line 2 already"),
        ("b\n  c: 2\n", "mine.yaml, line 2: mapping values are not .*; .*see whether the key of the line before"),
        ("a: 1\nb: 2020-13-45\n", "mine.yaml, line 2: 2020-13-45 cannot be (month must be in 1..12); put it in quotes"),
        ("a: 1\nb: 0x_\n", "mine.yaml, line 2: 0x_ cannot be"),
        ("a: &x\n  b: *x\n", "mine.yaml, line 2: the alias *x stands within the value of its own anchor"),
        ('{"a": 1,\n "a": 2}', "mine.yaml, line 2: the key a stands in line 1 already"),
        ("a: 1\nb: \x00\n", "mine.yaml, line 2: unacceptable character"),
        ("a: " + 2000 * "[" + 2000 * "]", "mine.yaml: nested too deeply"),
        ("", "mine.yaml: no configuration: it needs keys at top level"),
        ("- 1\n- 2\n", "mine.yaml: no configuration"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text, message, write):
    with pytest.raises(UserError) as caught:
        read_configfile(write(text))
    assert "\n" not in str(caught.value)
    for part in message.split(".*"):
        assert part in str(caught.value)


def test_missing_files_and_other_encodings_are_named(write, tmp_path):
    with pytest.raises(UserError, match=r"^nothere\.yaml: there is no such configuration file$"):
        read_configfile("nothere.yaml")
    (tmp_path / "latin.yaml").write_bytes("a: 1\nname: Z\u00fcrich\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.yaml, line 2: no UTF-8 \(.*\); save the file in that encoding$"):
        read_configfile("latin.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_configfile(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--configfile", "mine.yaml"],
        ["-n", "--configfile=mine.yaml", "--cores", "1"],
        ["--configfiles", "good.yaml", "mine.yaml", "--", "all"],
        ["all", "--configfile", "mine.yaml", "--configfile", "good.yaml", "-c1"],
    ],
)
def test_every_way_to_name_a_file_is_seen(arguments, write):
    write("a: {\n")
    write("a: 1\n", "good.yaml")
    with pytest.raises(SystemExit, match=r"^error: mine\.yaml, line 2: "):
        check_command_line(arguments)


def test_other_options_are_left_to_snakemake(write):
    write("a: {\n")
    check_command_line(["--config", "mine.yaml", "x=1", "--profile", "mine.yaml", "--", "mine.yaml", "--configfile"])
    check_command_line([])


def test_the_study_s_own_file_is_looked_at_and_all_mistakes_come_together(write):
    write("a: {\n", "config/config.yaml")
    with pytest.raises(SystemExit) as caught:
        check_command_line(["--configfile", "nothere.yaml"])
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[2].partition(":")[0] for line in lines] == [
        " config/config.yaml, line 2",
        " nothere.yaml",
    ]


def test_lists_and_maps_of_the_command_line_are_read_as_those_of_a_file():
    """Snakemake leaves all inside of them as text, and merges that."""
    arguments = ["seeds=[1, 2]", "training={epochs: 3, ema: {decay: 0.9}}", "models={vae: null, ae: {sweep: no}}"]
    arguments += ["results_dir=1.5", "push={hf_hub: me", "a="]
    texts = {"seeds": ["1", "2"], "training": {"epochs": "3", "ema": {"decay": "0.9"}}, "results_dir": 1.5}
    texts |= {"models": {"vae": "null", "ae": {"sweep": "no"}}, "push": "{hf_hub: me", "a": None}
    config = deepcopy(texts) | {"samples": {"count": 5}}
    config["training"]["batch_size"] = 8
    read_as_yaml(config, texts, arguments)
    assert config == texts | {
        "seeds": [1, 2],
        "training": {"batch_size": 8, "epochs": 3, "ema": {"decay": 0.9}},
        "models": {"vae": None, "ae": {"sweep": False}},
        "samples": {"count": 5},
    }


def test_what_the_command_line_did_not_give_stays_as_it_is():
    """As a module the workflow has a configuration of its own."""
    config = {"seeds": [5], "training": {"epochs": 7}}
    read_as_yaml(config, {"seeds": ["1"], "training": {"epochs": "3"}}, ["seeds=[1]", "training={epochs: 3}"])
    assert config == {"seeds": [5], "training": {"epochs": 7}}
