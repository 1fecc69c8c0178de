// describe-stream FILE: what one direction of a recorded channel says, a line for each message.
#include <cstdio>
#include <fstream>
#include <iterator>

#include "tests/wire/stream.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: describe-stream FILE\n", stderr);
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const auto meaning = ferry::wire::meaning_of(std::as_bytes(std::span(bytes)));
  if (!meaning) {
    std::fprintf(stderr, "%s: %s\n", argv[1], meaning.error().text().c_str());
    return 1;
  }
  std::fputs(meaning->c_str(), stdout);
  return 0;
}
