"""From source to a cubin for one exact device, with whatever compiler is there, kept in a cache."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from crwedge.core.files import atomic_write
from crwedge.runtime.backends.cuda.errors import DeviceError
from crwedge.runtime.backends.cuda.source import FOLDER, HEADERS, Variant, source_hash
from crwedge.runtime.bundle_lookup import data_home

ARCHITECTURES = ("sm_87", "sm_89", "sm_90", "sm_110", "sm_120")
"""What the kernels are meant for: Orin, Ada, Hopper, Thor, Blackwell desktop."""
_TIMEOUT_S = 600


def find_nvcc() -> Path | None:
    """The CUDA toolkit's compiler: $CUDA_HOME, the search path, then the usual place."""
    places = [Path(home) / "bin" / "nvcc" for home in (os.environ.get("CUDA_HOME"),) if home]
    if found := shutil.which("nvcc"):
        places.append(Path(found))
    places.append(Path("/usr/local/cuda/bin/nvcc"))
    return next((place for place in places if os.access(place, os.X_OK)), None)


def find_nvrtc() -> Path | None:
    """The run-time compiler's library: of the toolkit, of JetPack, or of the package nvidia-cuda-nvrtc."""
    folders = [Path(home) / "lib64" for home in (os.environ.get("CUDA_HOME"),) if home]
    folders += [Path("/usr/local/cuda/lib64"), Path("/usr/lib/aarch64-linux-gnu"), Path("/usr/lib/x86_64-linux-gnu")]
    spec = find_spec("nvidia")
    for root in spec.submodule_search_locations or [] if spec else []:
        folders += [Path(root) / "cuda_nvrtc" / "lib", Path(root) / "cu13" / "lib", Path(root) / "cu12" / "lib"]
    for folder in folders:
        if found := sorted(folder.glob("libnvrtc.so.*")):
            return found[-1]
    return None


def compile_cubin(name: str, architecture: str, variant: Variant) -> bytes:
    """Compile one of the .cu files for a device; the result is kept and used again.

    Args:
        name: attention.cu or frames.cu.
        architecture: sm_87, ... of the exact device.
        variant: see `Variant`.

    Raises:
        DeviceError: there is no compiler, or it refuses the source.
    """
    stamp = hashlib.sha256(f"{source_hash()} {variant.defines}".encode()).hexdigest()[:24]
    cached = kernel_cache() / f"{Path(name).stem}-{architecture}-{stamp}.cubin"
    # Whichever compiler made it: kernels may be compiled on one machine and carried to another that has none.
    if cached.is_file():
        return cached.read_bytes()
    compiled = compile_now(FOLDER / name, architecture, variant)
    keep(cached, compiled)
    return compiled


def compile_now(source: Path, architecture: str, variant: Variant) -> bytes:
    """Compile a file with what is there, and keep nothing."""
    nvcc = find_nvcc()
    if nvcc is not None:
        return with_nvcc(nvcc, source, architecture, variant)[0]
    nvrtc = find_nvrtc()
    if nvrtc is not None:
        return with_nvrtc(nvrtc, source, architecture, variant)
    raise DeviceError(
        "there is no CUDA compiler: install the CUDA toolkit (nvcc) or the package nvidia-cuda-nvrtc, "
        "or use --engine cpu"
    )


def kernel_cache() -> Path:
    """Where compiled kernels are kept: $CRWEDGE_KERNELS, else a folder of the user's data."""
    return Path(os.environ.get("CRWEDGE_KERNELS") or data_home() / "kernels")


def keep(path: Path, data: bytes) -> None:
    """Write to the cache. A folder that cannot be written only means that it is compiled again next time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(data)


def with_nvcc(nvcc: Path, source: Path, architecture: str, variant: Variant) -> tuple[bytes, str]:
    """Cubin, and what the assembler says of registers, shared memory and spills."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "kernel.cubin"
        command = [str(nvcc), "-cubin", f"-arch={architecture}", "-O3", "-std=c++17", "-Xptxas", "-v", *variant.defines]
        try:
            done = subprocess.run(
                [*command, "-o", str(out), str(source)],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(f"{nvcc} cannot be run ({error})") from error
        if done.returncode:
            raise DeviceError(f"nvcc cannot compile {source.name} for {architecture}: {_first_error(done.stderr)}")
        return out.read_bytes(), done.stdout + done.stderr


def with_nvrtc(library: Path, source: Path, architecture: str, variant: Variant) -> bytes:
    """Cubin from the run-time compiler, which needs no toolkit."""
    for builtins in library.parent.glob("libnvrtc-builtins.so*"):
        # It is asked for by its bare name later, and found because it is loaded already.
        ctypes.CDLL(str(builtins), ctypes.RTLD_GLOBAL)
    nvrtc = ctypes.CDLL(str(library))
    program = ctypes.c_void_p()
    texts = [(FOLDER / header).read_bytes() for header in HEADERS]
    _check(
        nvrtc,
        nvrtc.nvrtcCreateProgram(
            ctypes.byref(program),
            source.read_bytes(),
            source.name.encode(),
            len(HEADERS),
            (ctypes.c_char_p * len(HEADERS))(*texts),
            (ctypes.c_char_p * len(HEADERS))(*(header.encode() for header in HEADERS)),
        ),
        "read the kernels",
    )
    options = [f"--gpu-architecture={architecture}", "--std=c++17", *variant.defines]
    try:
        result = nvrtc.nvrtcCompileProgram(
            program, len(options), (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        )
        if result:
            log = _text(nvrtc, program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").decode(errors="replace")
            raise DeviceError(f"NVRTC cannot compile {source.name} for {architecture}: {_first_error(log)}")
        return _text(nvrtc, program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _text(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, size_of: str, get: str) -> bytes:
    size = ctypes.c_size_t()
    _check(nvrtc, getattr(nvrtc, size_of)(program, ctypes.byref(size)), "compile")
    buffer = ctypes.create_string_buffer(size.value)
    _check(nvrtc, getattr(nvrtc, get)(program, buffer), "compile")
    return buffer.raw


def _check(nvrtc: ctypes.CDLL, result: int, doing: str) -> None:
    if result:
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise DeviceError(f"NVRTC cannot {doing}: {nvrtc.nvrtcGetErrorString(result).decode()}")


def _first_error(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next(
        (line for line in lines if re.search(r"\berror\b|fatal", line)), lines[0] if lines else "no reason given"
    )
