"""Wire schemas: frames, problem documents and the generated protobuf code."""
