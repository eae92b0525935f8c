"""The PyTorch side of a benchmark as a child process: JSON requests on stdin, JSON answers on stdout, one a line."""

import json
import resource
import sys
import time

import torch


def peak_rss():
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve(handlers):
    """Answers each request by the handler of its `command`, without gradients, and adds what it took."""
    for line in sys.stdin:
        request = json.loads(line)
        handler = handlers.get(request["command"])
        begin, cpu = time.perf_counter(), time.process_time()
        if handler is None:
            answer = {"error": f"unknown command {request['command']}"}
        else:
            with torch.no_grad():
                answer = handler(request) or {}
        answer |= {"seconds": time.perf_counter() - begin, "cpuSeconds": time.process_time() - cpu, "peakRss": peak_rss()}
        print(json.dumps(answer), flush=True)
