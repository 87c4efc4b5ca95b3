# Read by CMake after llama.cpp's project() line (CMAKE_PROJECT_llama.cpp_INCLUDE). llama-cpp-python forces llama.cpp's
# "common" library on, which its Python part never loads: 51 of the slowest files of the build.
set(LLAMA_BUILD_COMMON OFF)
