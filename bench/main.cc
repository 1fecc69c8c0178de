// migrate-bench: how fast Ferry is beside what the machine can do. One JSON line a case on standard
// output, a table for people on standard error. It judges nothing by its exit code: a figure that
// misses its bar is a line that says so.

#include <fmt/format.h>

#include <boost/program_options.hpp>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "bench/cases.h"
#include "bench/data.h"
#include "bench/report.h"
#include "bench/scratch_folder.h"

namespace ferry::bench {
namespace {

namespace options = boost::program_options;

struct Choice {
  Plan plan;
  std::vector<std::string> cases;  ///< empty: all
  std::string poller;
  bool help = false;
};

options::options_description describe(Choice& choice, std::uint64_t& mebibytes) {
  options::options_description all("migrate-bench [OPTION]...");
  all.add_options()                                                                              //
      ("help,h", options::bool_switch(&choice.help), "say this")                                 //
      ("case", options::value(&choice.cases)->multitoken(), "only these cases")                  //
      ("repeats", options::value(&choice.plan.repeats)->default_value(5), "pairs a case")        //
      ("size", options::value(&mebibytes)->default_value(1024), "MiB of memory or image")        //
      ("channels", options::value(&choice.plan.channels)->multitoken(), "1 and 2 unless given")  //
      ("poller", options::value(&choice.poller)->default_value("auto"),
       "io_uring, epoll or poll: what Ferry waits with")  //
      ("qemu", options::value(&choice.plan.qemu)->default_value("qemu-system-x86_64"),
       "the QEMU to measure beside")  //
      ("guest-image", options::value(&choice.plan.guest_image)->default_value(""),
       "a guest's memory, for the cases of snapshots")  //
      ("dir", options::value(&choice.plan.folder)->default_value("/dev/shm"),
       "folder for images and outputs");
  return all;
}

std::string help_text(const options::options_description& all) {
  std::ostringstream text;
  text << all << "\nCases:\n";
  for (const Case& one : all_cases()) text << fmt::format("  {:<14} {}\n", one.name, one.what);
  return text.str();
}

Result<Choice> parse(int argc, char** argv) {
  Choice choice;
  std::uint64_t mebibytes = 0;
  const options::options_description all = describe(choice, mebibytes);
  try {
    options::variables_map values;
    options::store(options::parse_command_line(argc, argv, all), values);
    options::notify(values);
  } catch (const options::error& error) {
    return fail(Errc::usage, error.what());
  }
  choice.plan.bytes = mebibytes * k_mib;
  if (choice.help) fmt::print("{}", help_text(all));
  choice.plan.poller = FERRY_TRY(parse_poller(choice.poller));
  if (choice.plan.repeats == 0 || mebibytes == 0) return fail(Errc::usage, "nothing to measure");
  return choice;
}

bool is_chosen(const Choice& choice, const Case& one) {
  if (choice.cases.empty()) return true;
  return std::ranges::find(choice.cases, one.name) != choice.cases.end();
}

Result<void> measure(Choice choice) {
  choice.plan.commands = FERRY_TRY(find_commands());
  choice.plan.commands.poller = choice.poller;
  fmt::print(stderr, "{}\n", table_head());
  for (const Case& one : all_cases()) {
    if (!is_chosen(choice, one)) continue;
    FERRY_TRY(one.run(choice.plan, [&](const Finding& finding) {
      fmt::print("{}\n", json_line(finding, choice.plan));
      std::fflush(stdout);
      fmt::print(stderr, "{}", table_lines(finding));
    }));
  }
  return {};
}

Result<void> check_cases(const Choice& choice) {
  for (const std::string& name : choice.cases) {
    if (std::ranges::find(all_cases(), name, &Case::name) == all_cases().end()) {
      return fail(Errc::usage, fmt::format("there is no case '{}'", name), "--help lists them");
    }
  }
  return {};
}

int say(const Error& error) {
  fmt::print(stderr, "migrate-bench: {}\n", error.text());
  return error.code == Errc::usage ? 2 : 1;
}

/// Gives the exit code.
Result<int> run(int argc, char** argv) {
  Choice choice = FERRY_TRY(parse(argc, argv));
  if (choice.help) return 0;
  FERRY_TRY(check_cases(choice));
  return in_scratch_folder(choice.plan.folder, [&choice](const std::string& folder) {
    choice.plan.scratch = folder;
    const Result<void> done = measure(choice);
    return done ? 0 : say(done.error());
  });
}

}  // namespace
}  // namespace ferry::bench

int main(int argc, char** argv) {
  const ferry::Result<int> code = ferry::bench::run(argc, argv);
  return code ? *code : ferry::bench::say(code.error());
}
