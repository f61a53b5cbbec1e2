"""The rivals in prediction: LightGBM and CatBoost on the same feature frames, in an environment of their own."""
