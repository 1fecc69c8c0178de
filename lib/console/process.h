// What both commands do with their process: signals, limits, what it has used.
#pragma once

#include <stop_token>
#include <string>

#include "console/events.h"
#include "ferry/event_loop.h"

namespace ferry {

/// Before the process has any other thread: SIGINT, SIGTERM and SIGHUP wait for stop_on_signal()
/// (unless they were ignored when the command began), a reader that went away is an error of
/// write() and no signal, SIGCHLD is not ignored although the parent may have ignored it, and the
/// soft limit of descriptors becomes the hard one (255 channels and 1024 images are more than the
/// usual 1024).
void prepare_process() noexcept;

/// From now on the first of those signals asks `stop` to stop, and the second one ends the process
/// and the commands that it runs at once, as cancelled. `loop` must be running, on a thread that
/// inherited the mask.
void stop_on_signal(EventLoop& loop, std::stop_source stop);

/// Kills each child that leads a process group, with its group, as the commands of exec: do. They
/// are looked for in /proc, so that nobody need keep a list of them. For a process about to end: a
/// child that is reaped at this very moment leaves a number that is free.
void kill_commands();

Usage usage_so_far();

/// As other hosts may know it; "localhost" where the host has no name.
std::string host_name();

}  // namespace ferry
