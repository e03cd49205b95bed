"""Which part of an image is kept."""

from typing import TypedDict

from vaebench.base.errors import UserError


class Crop(TypedDict, total=False):
    """Either `center`, a side or [height, width], or `box`, [left, top, right, bottom]; pixels."""

    center: int | list[int]
    box: list[int]


def crop_box(crop: Crop | None, width: int, height: int) -> tuple[int, int, int, int]:
    """The (left, top, right, bottom) that `crop` cuts out of a width x height image.

    `crop` is None, {"center": side}, {"center": [height, width]} or {"box": [left, top, right, bottom]}. An odd
    margin is rounded as torchvision's CenterCrop does. UserError when the image does not contain the crop.
    """
    if crop is None:
        return 0, 0, width, height
    if "box" in crop:
        left, top, right, bottom = crop["box"]
    else:
        center = crop["center"]
        crop_height, crop_width = (center, center) if isinstance(center, int) else center
        top, left = round((height - crop_height) / 2), round((width - crop_width) / 2)
        right, bottom = left + crop_width, top + crop_height
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise UserError(
            f"preprocessing.crop {crop} does not fit into an image {width} wide and {height} high; "
            "choose a smaller crop, or null to use whole images"
        )
    return left, top, right, bottom
