"""What is measured on a model: each metric has one meaning, computed per image and summed in float64."""
