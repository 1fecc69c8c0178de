#include "console/file_options.h"

#include "base/escape.h"

namespace ferry {

std::vector<OptionSpec> with_file_options(std::vector<OptionSpec> own) {
  own.push_back({"file-engine", 0, "NAME",
                 "move a file's pages by io_uring, aio, threads, or auto: the best there is"});
  own.push_back({"direct", 0, "", "move a snapshot's pages past the page cache (O_DIRECT)"});
  own.push_back({"buffered", 0, "", "move them through it"});
  return own;
}

Result<FileOptions> file_options(const CommandLine& line) {
  FileOptions options;
  if (line.has("direct") && line.has("buffered")) {
    return fail(Errc::usage, "--direct and --buffered: one of them");
  }
  if (line.has("direct")) options.caching = Caching::direct;
  if (line.has("buffered")) options.caching = Caching::buffered;
  const auto name = line.text("file-engine");
  if (!name || *name == "auto") return options;
  if (*name == "io_uring") {
    options.engine = FileEngineKind::io_uring;
  } else if (*name == "aio") {
    options.engine = FileEngineKind::aio;
  } else if (*name == "threads") {
    options.engine = FileEngineKind::threads;
  } else {
    return fail(Errc::usage, "--file-engine " + in_quotes(*name) + ": no such engine",
                "io_uring, aio, threads or auto");
  }
  return options;
}

}  // namespace ferry
