"""What a study measures its values on, as its configuration says."""

from collections.abc import Mapping
from typing import Any

from vaebench.config.sections import input_shape
from vaebench.results.protocol import StudyProtocol


def protocol_of(config: Mapping[str, Any]) -> StudyProtocol:
    """What a study measures on, from its completed configuration."""
    validation, preprocessing, evaluation = (config[name] for name in ("validation", "preprocessing", "evaluation"))
    height_width = validation["height"], validation["width"]
    shape = input_shape(config)
    return StudyProtocol(
        dataset=config["dataset"]["name"],
        image_size=None if None in height_width else height_width,
        crop=preprocessing["crop"],
        size=None if shape is None else shape[1:],
        filter=preprocessing["filter"],
        channels=preprocessing["channels"],
        split=evaluation["split"],
        limit=evaluation["limit"],
        set_limit=evaluation["distribution"]["limit"],
    )
