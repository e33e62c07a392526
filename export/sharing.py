"""Shared layers in a graph: what is equal is stored once."""

import onnx


def store_once(model: onnx.ModelProto) -> None:
    """Keep one of all initializers with the same type, shape and numbers; operators read that one."""
    graph = model.graph
    kept: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        content = (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
        first = kept.setdefault(content, tensor.name)
        if first != tensor.name:
            renamed[tensor.name] = first
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name in renamed:
                node.input[place] = renamed[name]
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name in renamed:
            del graph.initializer[place]
