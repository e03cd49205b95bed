"""The table of all images, images.csv, that the validation writes and preprocessing reads."""

COLUMNS = ("file", "split", "status", "reason", "bytes", "width", "height")
