"""What a trained model can do: one folder a question."""
