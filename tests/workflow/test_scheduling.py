"""How often Snakemake looks for jobs to start."""


def test_jobs_are_looked_for_when_one_has_ended_and_not_all_the_time(study):
    flags = ["--verbose", "--cores", "1", "--forcerun", "showcase"]  # on one core jobs wait from the first to the last
    output = study.snakemake("report", flags=flags).stdout
    looks, ended = output.count("Ready jobs:"), output.count("Finished jobid:")
    assert ended > 3
    assert 0 < looks <= ended + 1, "once at first, and after each job"
