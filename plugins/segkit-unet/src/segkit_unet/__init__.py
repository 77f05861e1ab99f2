"""The classic U-Net (Ronneberger et al. 2015) and its relatives, for segkit."""
