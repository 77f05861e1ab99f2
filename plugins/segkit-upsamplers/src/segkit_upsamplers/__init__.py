"""Upsampling as a choice: interpolation, transposed convolution, unpooling, pixel shuffle and more, for segkit."""
