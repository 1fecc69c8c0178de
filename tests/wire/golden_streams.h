// The recorded streams in tests/wire/golden.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/wire/forge.h"

namespace ferry::wire {

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline Bytes read_bytes(const std::filesystem::path& path) {
  const std::string text = read_text(path);
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// The streams of a session, or of all of them, with this ending (".up", ".down"), in order.
inline std::vector<std::filesystem::path> streams_in(const std::filesystem::path& folder,
                                                     std::string_view ending) {
  std::vector<std::filesystem::path> streams;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ending) streams.push_back(entry.path());
  }
  std::ranges::sort(streams);
  return streams;
}

}  // namespace ferry::wire
