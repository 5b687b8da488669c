"""Holds memory of the first GPU that it may see, until its standard input ends.

cuda_user.py MIB        says `ready` when it has it; needs the driver alone, no CUDA toolkit
"""

import ctypes
import sys


def main(mib: int) -> None:
    cuda = ctypes.CDLL("libcuda.so.1")

    def call(function: str, *args: object) -> None:
        if error := getattr(cuda, function)(*args):
            raise SystemExit(f"{function}: CUDA error {error}")

    device, context, memory = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxSetCurrent", context)
    call("cuMemAlloc_v2", ctypes.byref(memory), ctypes.c_size_t(mib * 2**20))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]))
