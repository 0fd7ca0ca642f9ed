# crwedge on a desktop or server with an NVIDIA GPU (x86-64).
#
#   docker build -f containers/x86.Dockerfile -t crwedge .
#   docker run --rm --gpus all -v "$PWD:/work" -v crwedge:/data crwedge track clip.mp4 --mask init.png --out masks/
#
# The image brings TensorRT with its Python bindings; an engine is built inside the container, on the GPU that will run
# it, and kept in the volume /data. Needs a driver that supports the CUDA version of the base image.
FROM nvcr.io/nvidia/tensorrt:25.08-py3

# OpenCV is left out: a container has no window. PyAV brings its own FFmpeg.
COPY . /src
RUN python3 -m pip install --no-cache-dir "/src[gpu]" && rm -rf /src
ENV CRWEDGE_HOME=/data
VOLUME /data
WORKDIR /work
ENTRYPOINT ["crwedge"]
CMD ["--help"]
