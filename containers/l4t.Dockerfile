# crwedge on a Jetson (JetPack 6, L4T r36; for JetPack 7 give its base image with --build-arg BASE=...).
#
#   docker build -f containers/l4t.Dockerfile -t crwedge-l4t .
#   docker run --rm --runtime nvidia --device /dev/video0 -v "$PWD:/work" -v crwedge:/data crwedge-l4t \
#       track camera0 --mask init.png --out masks/
#
# TensorRT, CUDA and their Python bindings are the system's own: never install `tensorrt` from PyPI here.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}

RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip python3-venv python3-dev g++ python3-libnvinfer \
    && rm -rf /var/lib/apt/lists/*
# System packages stay visible: that is where the bindings of TensorRT are.
RUN python3 -m venv --system-site-packages /opt/crwedge
ENV PATH=/opt/crwedge/bin:/usr/local/cuda/bin:$PATH
COPY . /src
# PyCUDA is built against the CUDA of the base image. `cpu` is the plain ONNX Runtime, which judges the engine.
RUN pip install --no-cache-dir --upgrade pip \
    && pip install --no-cache-dir "/src[cpu]" "pycuda>=2024.1" \
    && rm -rf /src
ENV CRWEDGE_HOME=/data
VOLUME /data
WORKDIR /work
ENTRYPOINT ["crwedge"]
CMD ["--help"]
