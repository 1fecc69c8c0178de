#include "bench/snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "bench/data.h"
#include "bench/process.h"
#include "ferry/ferry.h"
#include "ferry/unique_fd.h"

namespace ferry::bench {
namespace {

constexpr const char* k_fio = "/usr/bin/fio";
constexpr unsigned k_pages = 20'000;

enum class Content { random, half };

struct Scene {
  const Plan& plan;
  unsigned channels = 1;
  bool direct = false;
  std::string image;
  std::string snapshot;
  std::string output;
};

std::string path_of(const Plan& plan, std::string_view what) {
  return fmt::format("{}/ferry-bench-{}-{}", plan.folder, ::getpid(), what);
}

/// Half: 64 KiB of data and 64 KiB of holes by turns.
Result<void> make_image(const std::string& path, std::uint64_t bytes, Content content) {
  if (content == Content::random) return make_random_image(path, bytes);
  return make_sparse_image(path, bytes, bytes / 2);
}

/// What is read next comes from the disk.
Result<void> forget(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file || ::fsync(file.get()) != 0) return fail_sys(Errc::system, errno, "open " + path);
  (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
  return {};
}

Result<Run> timed(const std::vector<std::string>& command) {
  const Clock::time_point begin = Clock::now();
  Process process = FERRY_TRY(Process::start(command));
  while (process.read_line()) {
  }
  Run run;
  run.send = FERRY_TRY(process.wait());
  run.seconds = seconds_between(begin, Clock::now());
  return run;
}

std::vector<std::string> with_file_options(std::vector<std::string> command, const char* lanes,
                                           const Scene& scene) {
  command.insert(command.end(),
                 {lanes, std::to_string(scene.channels), "--file-engine", "io_uring"});
  if (scene.direct) command.push_back("--direct");
  return command;
}

Result<Run> save(const Scene& scene) {
  ::unlink(scene.snapshot.c_str());
  return timed(with_file_options(
      {scene.plan.commands.send, "--quiet", scene.image, "file://" + scene.snapshot}, "--channels",
      scene));
}

Result<Run> load(const Scene& scene) {
  ::unlink(scene.output.c_str());
  FERRY_TRY(forget(scene.snapshot));
  Run run = FERRY_TRY(timed(with_file_options(
      {scene.plan.commands.receive, "--quiet", "-o", scene.output, "file://" + scene.snapshot},
      "--lanes", scene)));
  FERRY_TRY(expect_same_image(scene.output, scene.image));
  return run;
}

Result<Run> check(const Scene& scene) {
  FERRY_TRY(forget(scene.snapshot));
  return timed(with_file_options(
      {scene.plan.commands.receive, "--check", "file://" + scene.snapshot}, "--lanes", scene));
}

/// The time that fio says it took, without its own start and layout; the last fsync is in it.
Result<Run> fio(const Scene& scene, const char* direction, std::uint64_t bytes) {
  const std::string file = path_of(scene.plan, "fio");
  const bool writes = std::string_view(direction) == "write";
  if (writes) ::unlink(file.c_str());
  const std::uint64_t each = bytes / scene.channels / k_mib * k_mib;
  Process process = FERRY_TRY(Process::start(
      {k_fio, "--name=ferry", "--filename=" + file, fmt::format("--rw={}", direction), "--bs=256k",
       "--iodepth=8", "--ioengine=io_uring", "--fallocate=none",
       fmt::format("--direct={}", scene.direct ? 1 : 0), "--end_fsync=1",
       fmt::format("--size={}", each), fmt::format("--numjobs={}", scene.channels),
       fmt::format("--offset_increment={}", each), "--group_reporting", "--thread",
       "--output-format=json"}));
  std::string text;
  while (const auto line = process.read_line()) text += *line + "\n";
  Run run;
  run.send = FERRY_TRY(process.wait());
  const auto report =
      nlohmann::json::parse(text.substr(std::min(text.find('{'), text.size())), nullptr, false);
  if (report.is_discarded()) return fail(Errc::system, "read what fio says: " + text);
  run.seconds = report["jobs"][0][direction]["runtime"].get<double>() / 1000;
  return run;
}

Result<Run> cp(const std::string& from, const std::string& to) {
  ::unlink(to.c_str());
  FERRY_TRY(forget(from));
  return timed(
      {"/bin/sh", "-c", fmt::format("cp --sparse=always '{}' '{}' && sync '{}'", from, to, to)});
}

/// Calls `measure` for each number of channels, with an image and a snapshot of it.
template <class Measure>
Result<void> for_each_scene(const Plan& plan, Content content, Measure measure) {
  const ScratchFile image(path_of(plan, "snapshot.img"));
  const ScratchFile snapshot(path_of(plan, "snapshot.ferry"));
  const ScratchFile output(path_of(plan, "snapshot.out"));
  const ScratchFile scratch(path_of(plan, "fio"));
  Process child =
      FERRY_TRY(Process::fork([&](int) { return make_image(image.path(), plan.bytes, content); }));
  FERRY_TRY(child.wait());
  for (const unsigned channels : plan.channels) {
    for (const bool direct : {false, true}) {
      Scene scene{plan, channels, direct, image.path(), snapshot.path(), output.path()};
      FERRY_TRY(save(scene));
      FERRY_TRY(measure(scene));
    }
  }
  return {};
}

std::string_view name_of(Content content) { return content == Content::random ? "random" : "half"; }

/// What a case is measured beside, and the ratio that it has to reach.
struct Beside {
  const Report& report;
  std::string program;
  Content content;
  double least;
};

template <class Ferry, class Limit>
Result<void> compare(const Beside& beside, const Scene& scene, const char* name, Ferry ferry,
                     Limit limit) {
  Runs runs = FERRY_TRY(in_pairs(scene.plan.repeats, ferry, limit));
  const Bar bar{"ratio", median(ratios(runs)), Bar::Side::at_least, beside.least};
  beside.report({name,
                 beside.program,
                 scene.plan.bytes,
                 scene.channels,
                 std::move(runs),
                 {bar},
                 scene.direct ? "direct" : "buffered",
                 std::string(name_of(beside.content))});
  return {};
}

}  // namespace

Result<void> snapshot_and_fio(const Plan& plan, const Report& report) {
  if (::access(k_fio, X_OK) != 0) {
    fmt::print(stderr, "snapshot-fio: {} is not there: nothing to compare with\n", k_fio);
    return {};
  }
  for (const Content content : {Content::random, Content::half}) {
    const std::uint64_t data = content == Content::random ? plan.bytes : plan.bytes / 2;
    const Beside beside{report, "fio", content, 0.9};
    FERRY_TRY(for_each_scene(plan, content, [&](const Scene& scene) -> Result<void> {
      FERRY_TRY(compare(
          beside, scene, "snapshot-save", [&] { return save(scene); },
          [&] { return fio(scene, "write", data); }));
      return compare(
          beside, scene, "snapshot-read", [&] { return check(scene); },
          [&] { return fio(scene, "read", data); });
    }));
  }
  return {};
}

Result<void> snapshot_and_cp(const Plan& plan, const Report& report) {
  for (const Content content : {Content::random, Content::half}) {
    const Beside beside{report, "cp", content, 1.0};
    FERRY_TRY(for_each_scene(plan, content, [&](const Scene& scene) -> Result<void> {
      const auto copy = [&] { return cp(scene.image, scene.output); };
      const auto save_cold = [&]() -> Result<Run> {
        FERRY_TRY(forget(scene.image));
        return save(scene);
      };
      FERRY_TRY(compare(beside, scene, "snapshot-save", save_cold, copy));
      return compare(
          beside, scene, "snapshot-load", [&] { return load(scene); }, copy);
    }));
  }
  return {};
}

Result<void> snapshot_pages(const Plan& plan, const Report& report) {
  const ScratchFile image(path_of(plan, "snapshot.img"));
  const ScratchFile snapshot(path_of(plan, "snapshot.ferry"));
  FERRY_TRY(make_random_image(image.path(), plan.bytes));
  const Scene scene{plan, 1, false, image.path(), snapshot.path(), {}};
  FERRY_TRY(save(scene));
  const std::uint64_t units = plan.bytes / k_unit_bytes;
  for (const char* state : {"cached", "from disk"}) {
    if (std::string_view(state) != "cached") FERRY_TRY(forget(snapshot.path()));
    // In a process of its own: a Runtime has threads, and this one forks.
    Process child = FERRY_TRY(Process::fork([&](int out) -> Result<void> {
      const auto runtime = FERRY_TRY(make_runtime());
      const auto opened = FERRY_TRY(Snapshot::open(*runtime, "file://" + snapshot.path()));
      std::mt19937_64 random(1);
      std::vector<std::byte> page(k_unit_bytes);
      const Clock::time_point begin = Clock::now();
      for (unsigned i = 0; i < k_pages; ++i) {
        FERRY_TRY(opened->fetch({0, random() % units * k_unit_bytes, page.size()}, page));
      }
      write_line(out, std::to_string(seconds_between(begin, Clock::now()) / k_pages * 1e6));
      return {};
    }));
    const double micros = std::stod(FERRY_TRY(child.read_line()));
    FERRY_TRY(child.wait());
    report({"snapshot-page",
            "",
            plan.bytes,
            0,
            {},
            {{"microseconds_a_page", micros, Bar::Side::at_most, 1000}},
            "",
            state});
  }
  return {};
}

}  // namespace ferry::bench
