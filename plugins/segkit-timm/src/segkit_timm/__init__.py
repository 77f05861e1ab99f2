"""Every timm backbone that offers feature maps as a segkit encoder: timm/<name>."""
