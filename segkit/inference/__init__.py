"""Trained models on new images: finding the files, predicting, writing what was predicted."""
