"""How a model becomes a file: one lowering for blocks and students alike, quantization, verification."""
