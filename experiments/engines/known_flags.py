"""The flags of each engine that are worth searching, with the values that people try: suggestions
for whoever types a search space. An engine takes others too, and says itself what it refuses.

From the engines' own words: `vllm serve --help=all` of 0.32, SGLang's page of server arguments, and
the settings of llama-cpp-python 0.3.36's server. `tests/integration/test_engines.py` asks those
that are installed. Of SGLang's, what its versions call by different names is left out, such as
`cuda-graph-max-bs`, and what is out of maintenance or has no effect any more.
"""

# Flag and values, as a line of the form has them
KNOWN_FLAGS: dict[str, dict[str, str]] = {
    "vllm": {
        "max-num-seqs": "16..512 log",
        "max-num-batched-tokens": "1024..16384 log",
        "gpu-memory-utilization": "0.85..0.95 step 0.05",
        "enable-prefix-caching": "true, false",
        "enable-chunked-prefill": "true, false",
        "max-model-len": "4096, 8192, 16384",
        "tensor-parallel-size": "1, 2, 4, 8",
        "pipeline-parallel-size": "1, 2",
        "data-parallel-size": "1, 2",
        "enable-expert-parallel": "true, false",
        "block-size": "16, 32",
        "kv-cache-dtype": "auto, fp8",
        "dtype": "auto, bfloat16, float16",
        "enforce-eager": "true, false",
        "async-scheduling": "true, false",
        "scheduling-policy": "fcfs, priority",
        "attention-backend": "FLASH_ATTN, FLASHINFER",
        "stream-interval": "1, 4, 10",
        "cpu-offload-gb": "0, 4, 8",
        "api-server-count": "1, 2, 4",
    },
    "sglang": {
        "max-running-requests": "16..512 log",
        "mem-fraction-static": "0.80..0.92 step 0.04",
        "chunked-prefill-size": "2048, 4096, 8192",
        "max-prefill-tokens": "8192, 16384",
        "schedule-policy": "fcfs, lpm",
        "schedule-conservativeness": "0.3..1.3 step 0.1",
        "disable-radix-cache": "true, false",
        "attention-backend": "fa3, flashinfer, triton",
        "kv-cache-dtype": "auto, fp8_e5m2",
        "tp-size": "1, 2, 4, 8",
        "dp-size": "1, 2",
        "enable-mixed-chunk": "true, false",
        "stream-interval": "1, 4, 10",
        "page-size": "1, 16",
    },
    "llamacpp": {
        "n-threads": "2, 4, 8",
        "n-threads-batch": "2, 4, 8",
        "n-batch": "128, 256, 512",
        "n-ubatch": "128, 256, 512",
        "n-ctx": "2048, 4096",
        "n-gpu-layers": "-1, 0",
        "flash-attn": "true, false",
        "offload-kqv": "true, false",
        "use-mmap": "true, false",
        "use-mlock": "true, false",
    },
}
