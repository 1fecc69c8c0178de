// migrate-send: memory images to another host.
#include <cstdio>
#include <exception>
#include <memory>
#include <span>
#include <stop_token>
#include <utility>

#include "console/console.h"
#include "console/process.h"
#include "ferry/ferry.h"
#include "image/image_source.h"
#include "options.h"

namespace ferry {
namespace {

/// Said once, and not before there is somebody at the other end: whoever cannot connect has another
/// worry. Used by one thread at a time, as an Observer is.
class PrivacyNote {
 public:
  PrivacyNote(Console& console, const Uri& to) : console_(console), due_(to.scheme == "tcp") {}
  void say() {
    if (std::exchange(due_, false)) console_.warning(k_not_encrypted);
  }

 private:
  Console& console_;
  bool due_;
};

Result<Outcome> send_images(const SendCommand& command, Console& console, Log& log) {
  const std::unique_ptr<Runtime> runtime = FERRY_TRY(make_runtime(command.common.runtime));
  log.debug("the loop waits by {}", to_string(runtime->loop().poller_kind()));
  const std::stop_source stop;
  stop_on_signal(runtime->loop(), stop);
  FERRY_TRY(runtime->transport(command.to.scheme));
  const std::unique_ptr<ImageSource> images = FERRY_TRY(ImageSource::open(
      command.images, command.zero_copy == ZeroCopy::on ? ImageSource::Access::mapped
                                                        : ImageSource::Access::descriptor));
  log.info("{} images, {} bytes, to {} over {} channels", command.images.size(),
           images->memory().total_bytes(), command.to.text(), command.channels);

  PrivacyNote note(console, command.to);
  SendOptions options;
  options.channels = command.channels;
  options.verify = command.verify;
  options.zero_copy = command.zero_copy;
  BandwidthLimit bandwidth(command.max_bandwidth);
  if (command.max_bandwidth > 0) options.bandwidth = &bandwidth;
  options.timeout = command.common.timeout;
  options.observer.progress = [&](const Progress& progress) {
    note.say();
    console.progress(progress);
  };
  options.observer.warning = [&](const Warning& warning) { console.warning(warning.text); };
  Outcome outcome = send(*runtime, *images, command.to.text(), options, stop.get_token());
  if (outcome.ok()) note.say();
  outcome.report.downtime = {};  // an image never ran
  return outcome;
}

ExitCode run(std::span<const char* const> arguments) {
  Result<SendCommand> command = parse_send_command(arguments);
  Console console({.command = "migrate-send",
                   .format = format_asked_for(arguments),
                   .chatter = command ? command->common.chatter : Console::Chatter::all});
  if (!command) return console.failed(command.error());
  if (!command->common.answer.empty()) {
    std::fputs(command->common.answer.c_str(), stdout);
    return ExitCode::done;
  }
  Log log(command->common.log_level);
  const Result<Outcome> outcome = send_images(*command, console, log);
  return outcome ? console.finished(*outcome) : console.failed(outcome.error());
}

}  // namespace
}  // namespace ferry

int main(int argc, char** argv) {
  ferry::prepare_process();
  try {
    return static_cast<int>(ferry::run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1)));
  } catch (const std::exception& bug) {
    // Ferry throws nothing; a library beneath it may.
    std::fprintf(stderr, "migrate-send: internal error: %s\n", bug.what());
    return static_cast<int>(ferry::ExitCode::internal);
  }
}
