"""What runs a model: torch, ONNX Runtime or OpenVINO."""
