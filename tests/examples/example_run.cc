#include "tests/examples/example_run.h"

#include <algorithm>
#include <utility>

namespace ferry {
namespace {

Words command(std::string program, Words arguments) {
  arguments.insert(arguments.begin(), std::move(program));
  return arguments;
}

/// The lines that are whole.
nlohmann::json find(const std::string& text, const std::string& name) {
  const std::string whole = text.substr(0, text.rfind('\n') + 1);
  for (const nlohmann::json& event : events_of(whole)) {
    if (event.value("event", "") == name) return event;
  }
  return nullptr;
}

}  // namespace

ExampleRun::ExampleRun(std::string program, Words arguments)
    : process_(command(std::move(program), std::move(arguments))) {}

nlohmann::json ExampleRun::event(const std::string& name) const {
  return find(process_.out(), name);
}

nlohmann::json ExampleRun::wait_for(const std::string& name) {
  process_.read_until(process_.out(),
                      [&](const std::string& text) { return !find(text, name).is_null(); });
  return event(name);
}

std::optional<std::string> why_not_here(const std::string& program) {
  constexpr int k_cannot_run = 77;
  ExampleRun run(program, {"--memory", "16MiB", "--run-for", "0s"});
  if (run.wait() != k_cannot_run) return std::nullopt;
  return run.event("failed").value("message", run.all());
}

}  // namespace ferry
