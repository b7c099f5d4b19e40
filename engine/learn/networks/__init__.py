"""Networks that are trained beside the run: training with torch, checked payloads, answers without torch."""
