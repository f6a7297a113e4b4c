"""Back ends, which run a model: torch, ONNX Runtime or OpenVINO."""
