#include "tests/multifd/asleep.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

namespace ferry::test {
namespace {

std::string first_line(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

/// The state letter of a thread's stat, which follows its name in brackets.
char state_of(const std::filesystem::path& thread) {
  const std::string stat = first_line(thread / "stat");
  const std::size_t name_end = stat.rfind(") ");
  return name_end == std::string::npos ? '?' : stat[name_end + 2];
}

bool sleeps(std::string_view thread_name) {
  std::error_code gone;  // threads may end while they are listed
  for (std::filesystem::directory_iterator thread("/proc/self/task", gone), end;
       !gone && thread != end; thread.increment(gone)) {
    if (first_line(thread->path() / "comm") == thread_name) return state_of(thread->path()) == 'S';
  }
  return false;
}

}  // namespace

void wait_until_asleep(std::string_view thread_name) {
  while (!sleeps(thread_name)) std::this_thread::yield();
}

}  // namespace ferry::test
