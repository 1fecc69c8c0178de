#include "bench/snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bench/data.h"
#include "bench/process.h"
#include "bench/programs.h"
#include "bench/qemu_run.h"
#include "ferry/memory.h"

namespace ferry::bench {
namespace {

enum class Content { random, half, guest };

struct Scene {
  const Plan& plan;
  unsigned channels = 1;
  bool direct = false;
  std::string image;
  std::string snapshot;
  std::string output;
  std::string fio{};  ///< the program, where it is needed
};

/// Half: 64 KiB of data and 64 KiB of holes by turns. A guest's is copied.
Result<void> make_image(const std::string& path, const Plan& plan, Content content) {
  switch (content) {
    case Content::random:
      return make_random_image(path, plan.bytes);
    case Content::half:
      return make_sparse_image(path, plan.bytes, plan.bytes / 2);
    case Content::guest:
      break;
  }
  Process copy = FERRY_TRY(Process::start({"/bin/cp", "--sparse=always", plan.guest_image, path}));
  FERRY_TRY(copy.wait());
  return {};
}

std::vector<Content> contents(const Plan& plan) {
  std::vector<Content> all{Content::random, Content::half};
  if (!plan.guest_image.empty()) all.push_back(Content::guest);
  return all;
}

Result<struct stat> status_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return fail_sys(Errc::system, errno, "look at " + path);
  return status;
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
  command.push_back(scene.direct ? "--direct" : "--buffered");
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

/// What fio is to move: `each` bytes a job.
struct FioFile {
  std::string path;
  std::uint64_t each = 0;
};

/// What a lane of Ferry has under way: requests as long as the snapshot's runs are, 1 MiB at most,
/// and up to 32 of them in a staging of 4 MiB.
struct FioDepth {
  std::uint64_t block = 0;  ///< in bytes
  std::uint64_t requests = 0;
};
Result<FioDepth> depth_of_a_lane(const Scene& scene) {
  const std::uint64_t mean = FERRY_TRY(mean_stretch(scene.snapshot));
  const std::uint64_t block = std::clamp(std::bit_floor(mean), k_unit_bytes, k_mib);
  return FioDepth{block, std::min<std::uint64_t>(4 * k_mib / block, 32)};
}

/// One after the other, in as many jobs as Ferry has lanes, and as Ferry's lanes do it. The time is
/// what fio says that it took, without its own start and layout; the last fsync is in it.
Result<Run> fio(const Scene& scene, const char* direction, const FioFile& file,
                const std::vector<std::string>& more) {
  const FioDepth depth = FERRY_TRY(depth_of_a_lane(scene));
  std::vector<std::string> argv{scene.fio,
                                "--name=ferry",
                                "--filename=" + file.path,
                                fmt::format("--rw={}", direction),
                                fmt::format("--bs={}", depth.block),
                                fmt::format("--iodepth={}", depth.requests),
                                "--ioengine=io_uring",
                                fmt::format("--direct={}", scene.direct ? 1 : 0),
                                fmt::format("--size={}", file.each),
                                fmt::format("--numjobs={}", scene.channels),
                                fmt::format("--offset_increment={}", file.each),
                                "--group_reporting",
                                "--thread",
                                "--output-format=json"};
  argv.insert(argv.end(), more.begin(), more.end());
  Process process = FERRY_TRY(Process::start(argv));
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

/// As many bytes as the snapshot has storage for, to a new file: next to nothing of it is no page.
Result<Run> fio_write(const Scene& scene) {
  const std::string path = scratch_path(scene.plan, "fio");
  ::unlink(path.c_str());
  const auto blocks = static_cast<std::uint64_t>(FERRY_TRY(status_of(scene.snapshot)).st_blocks);
  const std::uint64_t each =
      std::max(blocks * 512 / scene.channels / k_mib, std::uint64_t{1}) * k_mib;
  return fio(scene, "write", {path, each}, {"--fallocate=none", "--end_fsync=1"});
}

/// The snapshot itself, from its first byte to its last, holes and all. Two files that were written
/// one after the other may lie on their disk in very different ways.
Result<Run> fio_read(const Scene& scene) {
  FERRY_TRY(forget(scene.snapshot));
  const auto bytes = static_cast<std::uint64_t>(FERRY_TRY(status_of(scene.snapshot)).st_size);
  const std::uint64_t each = bytes / scene.channels / k_unit_bytes * k_unit_bytes;
  return fio(scene, "read", {scene.snapshot, each}, {"--readonly"});
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
  const ScratchFile image(scratch_path(plan, "snapshot.img"));
  const ScratchFile snapshot(scratch_path(plan, "snapshot.ferry"));
  const ScratchFile output(scratch_path(plan, "snapshot.out"));
  const ScratchFile scratch(scratch_path(plan, "fio"));
  Process child =
      FERRY_TRY(Process::fork([&](int) { return make_image(image.path(), plan, content); }));
  FERRY_TRY(child.wait());
  FERRY_TRY(settle(image.path()));
  for (const unsigned channels : plan.channels) {
    for (const bool direct : {false, true}) {
      Scene scene{plan, channels, direct, image.path(), snapshot.path(), output.path()};
      FERRY_TRY(save(scene));
      FERRY_TRY(measure(scene));
    }
  }
  return {};
}

std::string_view name_of(Content content) {
  switch (content) {
    case Content::random:
      return "random";
    case Content::half:
      return "half";
    case Content::guest:
      break;
  }
  return "guest";
}

std::string way_of(const Scene& scene) { return scene.direct ? "direct" : "buffered"; }

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
                 static_cast<std::uint64_t>(FERRY_TRY(status_of(scene.image)).st_size),
                 scene.channels,
                 std::move(runs),
                 {bar},
                 way_of(scene),
                 std::string(name_of(beside.content))});
  return {};
}

}  // namespace

Result<void> snapshot_and_fio(const Plan& plan, const Report& report) {
  const Result<std::string> program = find_program("fio");
  if (!program) return say_skipped("snapshot-fio", program.error()), Result<void>();
  for (const Content content : contents(plan)) {
    const Beside beside{report, "fio", content, 0.9};
    FERRY_TRY(for_each_scene(plan, content, [&](Scene scene) -> Result<void> {
      scene.fio = *program;
      FERRY_TRY(compare(
          beside, scene, "snapshot-save", [&] { return save(scene); },
          [&] { return fio_write(scene); }));
      return compare(
          beside, scene, "snapshot-read", [&] { return check(scene); },
          [&] { return fio_read(scene); });
    }));
  }
  return {};
}

Result<void> snapshot_and_cp(const Plan& plan, const Report& report) {
  for (const Content content : contents(plan)) {
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

Result<void> snapshot_and_qemu(const Plan& plan, const Report& report) {
  const Result<std::string> program = find_program(plan.qemu);
  if (!program) return say_skipped("snapshot-qemu", program.error()), Result<void>();
  const ScratchFile output(scratch_path(plan, "qemu"));
  const Beside beside{report, "QEMU's migration into a file", Content::random, 1.0};
  return for_each_scene(plan, Content::random, [&](const Scene& scene) -> Result<void> {
    const QemuSnapshot peer{*program, scene.image, output.path(), plan.bytes};
    const auto save_settled = [&]() -> Result<Run> {
      FERRY_TRY(settle(scene.image));
      return save(scene);
    };
    Runs runs =
        FERRY_TRY(in_pairs(plan.repeats, save_settled, [&] { return qemu_snapshot(peer); }));
    const auto cpu = [](const Run& run) { return run.send.cpu_seconds; };
    const double gibibytes = static_cast<double>(plan.bytes) / static_cast<double>(k_gib);
    std::vector<Bar> bars{{"ratio", median(ratios(runs)), Bar::Side::at_least, beside.least},
                          {"cpu_seconds_per_gib", median_of(runs.ferry, cpu) / gibibytes,
                           Bar::Side::at_most, median_of(runs.limit, cpu) / gibibytes}};
    report({"snapshot-qemu", beside.program, plan.bytes, scene.channels, std::move(runs),
            std::move(bars), way_of(scene), std::string(name_of(beside.content))});
    return {};
  });
}

}  // namespace ferry::bench
