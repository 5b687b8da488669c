"""Which failures may be over at the next attempt: they say nothing of the configuration."""

import os
import re

TEMPORARY_FAILURE = os.EX_TEMPFAIL  # 75, as sysexits.h has it: a job that wants to be tried again

_PORT = r"address already in use"
_DOWNLOAD = (
    r"LocalEntryNotFoundError(?!.*outgoing traffic has been disabled)"
    r"|Max retries exceeded|(?:Connect|Connection|Read|Pool)Timeout|Read timed out"
    r"|ChunkedEncodingError|IncompleteRead|Temporary failure in name resolution"
    r"|Name or service not known|NameResolutionError|Too Many Requests|(?:50[0234]|429) \w+ Error"
    r"|Failed to establish a new connection|ProtocolError.*Connection aborted"
    r"|We couldn't connect to|\bConnectError\b|RemoteProtocolError"
)
_GPU = (
    r"(?:GPU|device) (?:is |was )?lost|fallen off the bus|\bXid\b|uncorrectable ECC"
    r"|CUDA_ERROR_(?:ECC_UNCORRECTABLE|DEVICE_UNAVAILABLE|SYSTEM_NOT_READY)"
    r"|system not yet initialized"
    r"|devices?(?:\(s\))? (?:is/are|is|are)(?: all)? busy|Driver/library version mismatch"
    r"|no CUDA-capable device is detected|No CUDA GPUs are available"
)
_HOST = (
    r"No space left on device|Read-only file system|Disk quota exceeded|Input/output error"
    r"|Resource temporarily unavailable|Too many open files in system"
)
_PASSES = re.compile("|".join((_PORT, _DOWNLOAD, _GPU, _HOST)), re.IGNORECASE)


def may_pass(cause: str) -> bool:
    """Whether a line of a log tells of something that is not the configuration's."""
    return bool(_PASSES.search(cause))
