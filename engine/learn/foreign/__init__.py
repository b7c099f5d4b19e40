"""Estimators of other libraries behind the one contract: River by name, scikit-learn by name, LightGBM."""
