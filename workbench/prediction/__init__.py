"""The mean of new rows by any fit, with what it may miss by: :func:`~workbench.prediction.predict.predict`."""
