"""The demo: a toy task, a tiny model, and the whole way from raw problems to a trained model."""
