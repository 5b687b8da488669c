# Included by CMake while it configures llama.cpp for llama-cpp-python: leaves out the library of
# llama.cpp's own tools, which the Python package does not use. Halves the time of the build.
set(LLAMA_BUILD_COMMON OFF)
