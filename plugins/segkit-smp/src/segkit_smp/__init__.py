"""The decoders and encoders of segmentation-models-pytorch for segkit: smp/<name>."""
