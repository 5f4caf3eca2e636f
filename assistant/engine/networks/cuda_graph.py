"""A sequence of kernels as one CUDA graph: a single launch instead of hundreds, each of which costs the CPU time."""

from collections.abc import Callable

import torch


def captured(
    run: Callable[[], None], device: torch.device, undo: Callable[[], object] = lambda: None
) -> Callable[[], None]:
    """What does as `run` does, always with the tensors that it finds now. On other devices than a GPU `run` itself.

    `run` is called once before, so that its kernels are compiled and its libraries have their memory; `undo` takes back
    what that changed. Raises `RuntimeError` where `run` does what a graph can't hold, such as waiting for the GPU.
    """
    if device.type != "cuda":
        return run
    aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(aside):
        run()
        undo()
    torch.cuda.current_stream(device).wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    replay: Callable[[], None] = graph.replay
    return replay
