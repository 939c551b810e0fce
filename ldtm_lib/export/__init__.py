"""Networks in files that other programs can run: ONNX, TensorRT engines, and certificates of their equality."""
