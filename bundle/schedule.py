"Runs stages in order of value on a few lanes, under a time limit, and goes on where a call ended"
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def choose(waiting, running, lanes, left):
    """The stage to begin now, or None: the first whose expected seconds fit into what is left, else
    the first. It waits for its lanes, so that nothing of less value takes them.

    waiting, running: name → (expected seconds, lanes)
    """
    fits = [name for name, (seconds, _) in waiting.items() if seconds <= left]
    name = next(iter(fits or waiting), None)
    taken = sum(min(n, lanes) for _, n in running.values())
    if name is None or taken + min(waiting[name][1], lanes) > lanes:
        return None
    return name


def start(command, log, env):
    "The id of a new process group that runs a command; its output, then its exit code are kept"
    code = Path(f'{log}.rc')
    code.unlink(missing_ok=True)
    line = f'{shlex.join(command)} >> {log}.log 2>&1; echo $? > {log}.part; mv {log}.part {code}'
    quiet = dict.fromkeys(('stdin', 'stdout', 'stderr'), subprocess.DEVNULL)
    return subprocess.Popen(['/bin/sh', '-c', line], env=env, start_new_session=True, **quiet).pid


def created(pid):
    "When a process was created; 0 if there is none"
    import psutil
    try:
        process = psutil.Process(pid)
        return 0 if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return 0


def family(job):
    "The process of a job with all that it started; empty where it has ended or its id is another's"
    import psutil
    if not job['created'] or created(job['pid']) != job['created']:
        return []
    try:
        process = psutil.Process(job['pid'])
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def interrupt(processes):
    "Interrupt kernels, so that papermill keeps the notebook as it stands; without one, everything"
    import psutil
    kernels = []
    for p in processes:
        try:
            if 'ipykernel_launcher' in ' '.join(p.cmdline()):
                kernels.append(p)
        except psutil.Error:
            continue
    for p in kernels or processes[1:]:
        try:
            p.send_signal(signal.SIGINT)
        except psutil.NoSuchProcess:
            continue


def stop(jobs, patience=8):
    "End stages: first so that they keep what they have, then by force"
    import psutil
    families = [family(job) for job in jobs]
    for processes in families:
        interrupt(processes)
    psutil.wait_procs([p for f in families for p in f[:1]], patience)
    for p in [p for f in families for p in f]:
        try:
            p.kill()
        except psutil.NoSuchProcess:
            continue


class Ledger:
    "What became of each stage, in a file that the next call reads: status, seconds, process"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.path = self.folder/'state.json'
        (self.folder/'logs').mkdir(parents=True, exist_ok=True)
        self.stages = json.loads(self.path.read_text()) if self.path.exists() else {}

    def log(self, name):
        return self.folder/'logs'/name

    def save(self):
        part = self.path.with_suffix('.part')
        part.write_text(json.dumps(self.stages, indent=1))
        os.replace(part, self.path)

    def status(self, name):
        return self.stages.get(name, {}).get('status', 'not begun')

    def running(self):
        return {n: s for n, s in self.stages.items() if s['status'] == 'running'}

    def spent(self, name):
        "Seconds that a stage has run, over all calls"
        entry = self.stages.get(name, {})
        now = time.time() - entry['began'] if entry.get('status') == 'running' else 0
        return entry.get('spent', 0) + now

    def begin(self, name, command, env, commit):
        pid = start(command, self.log(name), env)
        self.stages[name] = dict(status='running', pid=pid, created=created(pid),
                                 began=time.time(), spent=self.spent(name), commit=commit)
        self.save()

    def end(self, name, status):
        "Note how a stage ended; a stopped one is begun again by a later call"
        spent = round(self.spent(name), 1)
        self.stages[name].update(status=status, spent=spent)
        self.save()

    def look(self):
        "The stages that ended since the last look; one without a process was killed from outside"
        ended = []
        for name, entry in self.running().items():
            gone, code = not family(entry), Path(f'{self.log(name)}.rc')
            if code.exists():
                self.end(name, 'done' if code.read_text().strip() == '0' else 'failed')
            elif gone:
                self.end(name, 'stopped')
            else:
                continue
            ended.append(name)
        return ended

    def stop(self):
        "Stop what runs"
        self.look()
        running = self.running()
        stop(running.values())
        for name in running:
            self.end(name, 'stopped')

    def is_open(self, name, commit, again=False):
        "Is there something to do? A failed stage is begun again after a change, or if asked for"
        entry = self.stages.get(name, {})
        if entry.get('status') == 'failed':
            return again or entry['commit'] != commit
        return entry.get('status') not in ('done', 'running')


def expected(stage, spent, scale):
    "Seconds that a stage still needs: trainings that it has made are loaded, not repeated"
    return max(30, stage.seconds - spent) if scale == 'paper' else 0


@dataclass
class Plan:
    "What a call may use, and how it begins a stage"
    begin: Callable  # name → (command, environment)
    possible: Callable = lambda name: True  # name → are its data there, or coming?
    ready: Callable = lambda name: True  # name → are its data there?
    after: Callable = lambda name: None  # called when a stage has ended
    lanes: int = 3
    later: float = 0  # seconds of later calls, in which stages go on
    scale: str = 'paper'
    commit: str = ''


def run(todo, ledger, plan, until):
    """Run stages (name → Stage, in order of value) until they are done or the time is up.

    What still runs then is left running. Returns the stages that were not begun.
    """
    waiting = dict(todo)
    while time.time() < until and (waiting or ledger.running()):
        ended = ledger.look()
        begin_next(waiting, todo, ledger, plan, until - time.time() + plan.later)
        for name in ended:
            plan.after(name)
        if not ledger.running() and not any(map(plan.possible, waiting)):
            break
        time.sleep(.2)
    return waiting


def begin_next(waiting, todo, ledger, plan, left):
    "Begin the stage that `choose` names, and take it out of those that wait"
    needs = {name: (expected(stage, ledger.spent(name), plan.scale), stage.lanes)
             for name, stage in waiting.items() if plan.possible(name)}
    busy = {name: (0, todo[name].lanes if name in todo else 1) for name in ledger.running()}
    name = choose(needs, busy, plan.lanes, left)
    if name and plan.ready(name):
        del waiting[name]
        ledger.begin(name, *plan.begin(name), plan.commit)
