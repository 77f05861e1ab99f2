"""DenseNet encoders (Huang et al. 2017) with ImageNet weights, for segkit."""
