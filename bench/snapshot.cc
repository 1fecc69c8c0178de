#include "bench/snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <deque>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bench/data.h"
#include "bench/free_memory.h"
#include "bench/process.h"
#include "bench/programs.h"
#include "bench/qemu_run.h"
#include "ferry/place.h"

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

/// Before each run: for a program's own memory, and for two files in the page cache.
void level_the_field(const Plan& plan) { warm_free_memory(2 * plan.bytes + 256 * k_mib); }

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

/// What a lane of Ferry asks for at once: the stretches of pages that a snapshot has, 1 MiB each at
/// most.
Result<std::vector<Stretch>> requests_of_lanes(const Scene& scene) {
  constexpr std::uint64_t k_most = k_mib;
  // One region and no sections: its pages are the end of the file.
  const auto begin =
      FERRY_TRY(status_of(scene.snapshot)).st_size - FERRY_TRY(status_of(scene.image)).st_size;
  std::vector<Stretch> requests;
  for (const Stretch& stretch : FERRY_TRY(data_in(scene.snapshot))) {
    const std::uint64_t end = stretch.offset + stretch.length;
    std::uint64_t at = std::max(stretch.offset, static_cast<std::uint64_t>(begin));
    for (; at < end; at += requests.back().length) {
      requests.push_back({at, std::min(end - at, k_most)});
    }
  }
  return requests;
}

/// So much of them as a lane has under way: up to 32, in a staging of 4 MiB.
struct FioDepth {
  std::uint64_t block = 0;  ///< in bytes
  std::uint64_t requests = 0;
};
FioDepth depth_of_a_lane(const std::vector<Stretch>& requests) {
  std::uint64_t bytes = 0;
  for (const Stretch& request : requests) bytes += request.length;
  const std::uint64_t mean = bytes / std::max(requests.size(), std::size_t{1});
  const std::uint64_t block = std::clamp(std::bit_floor(mean), k_unit_bytes, k_mib);
  return {block, std::min<std::uint64_t>(4 * k_mib / block, 32)};
}

/// The time is what fio says that it took, without its own start and layout; the last fsync is in
/// it. Its buffers are huge pages, as a lane's are: some disks take as long again for small ones.
Result<Run> fio(const Scene& scene, const char* direction, std::uint64_t requests,
                const std::vector<std::string>& jobs) {
  std::vector<std::string> argv{"/usr/bin/env",
                                "GLIBC_TUNABLES=glibc.malloc.hugetlb=1",
                                scene.fio,
                                "--ioengine=io_uring",
                                fmt::format("--iodepth={}", requests),
                                fmt::format("--direct={}", scene.direct ? 1 : 0),
                                "--group_reporting",
                                "--thread",
                                "--output-format=json"};
  argv.insert(argv.end(), jobs.begin(), jobs.end());
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

/// As many bytes as the snapshot has storage for, to a new file, in blocks as long as a lane's:
/// next to nothing of it is no page. In as many jobs as Ferry has lanes, each one after the other.
Result<Run> fio_write(const Scene& scene) {
  const std::string path = scratch_path(scene.plan, "fio");
  ::unlink(path.c_str());
  const FioDepth depth = depth_of_a_lane(FERRY_TRY(requests_of_lanes(scene)));
  const auto blocks = static_cast<std::uint64_t>(FERRY_TRY(status_of(scene.snapshot)).st_blocks);
  const std::uint64_t each =
      std::max(blocks * 512 / scene.channels / k_mib, std::uint64_t{1}) * k_mib;
  return fio(
      scene, "write", depth.requests,
      {"--name=ferry", "--filename=" + path, "--rw=write", fmt::format("--bs={}", depth.block),
       fmt::format("--size={}", each), fmt::format("--numjobs={}", scene.channels),
       fmt::format("--offset_increment={}", each), "--fallocate=none", "--end_fsync=1"});
}

/// What fio is to read, as it takes it from a file.
Result<void> write_iolog(const std::string& path, const std::string& of,
                         std::span<const Stretch> requests) {
  std::ofstream log(path);
  log << "fio version 2 iolog\n" << of << " add\n" << of << " open\n";
  for (const auto& [offset, length] : requests) {
    log << of << " read " << offset << ' ' << length << '\n';
  }
  log << of << " close\n" << std::flush;
  if (!log) return fail(Errc::system, "write " + path);
  return {};
}

/// The same stretches of the snapshot as Ferry's lanes read, neither more nor others, from the
/// first to the last; a job has as many of them as a lane. Two files that were written one after
/// the other may lie on their disk in very different ways, and a kernel that meets holes reads them
/// ahead, too, or does not, by what was read before.
Result<Run> fio_read(const Scene& scene) {
  const auto requests = FERRY_TRY(requests_of_lanes(scene));
  std::deque<ScratchFile> logs;
  std::vector<std::string> jobs{"--readonly"};
  for (unsigned job = 0; job < scene.channels; ++job) {
    const std::size_t from = requests.size() * job / scene.channels;
    const std::size_t to = requests.size() * (job + 1) / scene.channels;
    if (from == to) continue;
    logs.emplace_back(scratch_path(scene.plan, "fio" + std::to_string(job)));
    FERRY_TRY(write_iolog(logs.back().path(), scene.snapshot,
                          std::span(requests).subspan(from, to - from)));
    jobs.push_back(fmt::format("--name=lane{}", job));
    jobs.push_back("--read_iolog=" + logs.back().path());
  }
  FERRY_TRY(forget(scene.snapshot));
  return fio(scene, "read", depth_of_a_lane(requests).requests, jobs);
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
  Runs runs = FERRY_TRY(in_pairs(
      scene.plan.repeats, [&] { return level_the_field(scene.plan), ferry(); },
      [&] { return level_the_field(scene.plan), limit(); }));
  Finding finding{name,
                  beside.program,
                  static_cast<std::uint64_t>(FERRY_TRY(status_of(scene.image)).st_size),
                  scene.channels,
                  std::move(runs),
                  {},
                  way_of(scene),
                  std::string(name_of(beside.content))};
  finding.bars = {{"ratio", ratio_of_pairs(finding.runs), Bar::Side::at_least, beside.least}};
  finding.figures = {{"best_ratio", ratio_of_best(finding.runs)}};
  beside.report(finding);
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
      level_the_field(plan);
      FERRY_TRY(settle(scene.image));
      return save(scene);
    };
    const auto qemu = [&] { return level_the_field(plan), qemu_snapshot(peer); };
    Runs runs = FERRY_TRY(in_pairs(plan.repeats, save_settled, qemu));
    const double gibibytes = static_cast<double>(plan.bytes) / static_cast<double>(k_gib);
    const auto cpu = [gibibytes](const Run& run) { return run.send.cpu_seconds / gibibytes; };
    Finding finding{"snapshot-qemu", beside.program,
                    plan.bytes,      scene.channels,
                    std::move(runs), {},
                    way_of(scene),   std::string(name_of(beside.content))};
    finding.bars = {{"ratio", ratio_of_pairs(finding.runs), Bar::Side::at_least, beside.least},
                    {"cpu_seconds_per_gib", median_of(finding.runs.ferry, cpu), Bar::Side::at_most,
                     median_of(finding.runs.limit, cpu)}};
    finding.figures = {
        {"best_ratio", ratio_of_best(finding.runs)},
        {"best_cpu_seconds_per_gib", cpu(std::ranges::min(finding.runs.ferry, {}, cpu))},
        {"best_limit_cpu_seconds_per_gib", cpu(std::ranges::min(finding.runs.limit, {}, cpu))}};
    report(finding);
    return {};
  });
}

}  // namespace ferry::bench
