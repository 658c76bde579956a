"""How good a model is and how sure that is: numpy arrays in, typed JSON-safe results out.

`scores` holds the arithmetic (vectorised over bootstrap resamples), `metrics` and `malignancy` the
point results, `intervals` the uncertainty, `calibration` temperature and conformal sets, `report` one
model on one split, `study` two training runs side by side. None of these imports torch or gradio.
"""
