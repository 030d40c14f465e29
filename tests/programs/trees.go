package main

// trees are programs of several processes. The root is a small driver which starts
// the servers and clients of its tree and checks them.
var trees = []entry{
	bash("shell", "shell.sh", "mawk"),
	{name: "make", packages: []string{"make"}, tools: []string{"make"}, source: "make.sh",
		run: []string{"sh", "SOURCE", "STOP", "SRC/make.mk"}},
	bash("xargs", "xargs.sh", "findutils").needing("xargs"),
	bash("parallel", "parallel.sh", "parallel").needing("parallel"),
	python("multiprocessing", "multiproc.py"),
	python("asyncio", "async.py"),
	bash("tail", "tail.sh", "coreutils"),
	killed(python("sqlite-lock", "sqlite_lock.py")),
	python("tmux", "tmux.py", "tmux", "vim", "less", "procps").needing("tmux", "vim", "less", "top"),
	python("screen", "screen.py", "screen", "vim").needing("screen", "vim"),
	{name: "script", packages: []string{"bsdutils"}, tools: []string{"script"}, source: "script.sh",
		run: []string{"bash", "SOURCE", "STOP", "SRC/terminal.sh"}},
	{name: "expect", packages: []string{"expect"}, source: "expect.exp", run: []string{"expect", "SOURCE", "STOP"}},
	python("redis", "redis.py", "redis-server").needing("redis-server"),
	python("memcached", "memcached.py", "memcached").needing("memcached"),
	python("nginx", "nginx.py", "nginx-light").needing("/usr/sbin/nginx"),
	unprivileged(killed(entry{name: "postgresql", packages: []string{"postgresql"}, modules: true, source: "postgres.py",
		run: []string{"/usr/bin/python3", "-B", "SOURCE", "STOP"}})),
	unprivileged(python("sshd", "sshd.py", "openssh-server", "openssh-client").needing("/usr/sbin/sshd", "ssh", "ssh-keygen")),
	{name: "jupyter", packages: []string{"python3-ipykernel", "python3-jupyter-client"}, modules: true, source: "jupyter.py",
		run: []string{"/usr/bin/python3", "-B", "SOURCE", "STOP"}},
	killed(entry{name: "snakemake", packages: []string{"snakemake"}, source: "Snakefile",
		run: []string{"snakemake", "--snakefile", "SOURCE", "--jobs", "3", "--nolock", "--config", "stop=STOP"}}),
	{name: "200-processes", packages: []string{"gcc", "libc6-dev"}, source: "ring.c",
		compile: []string{"gcc", "-O2", "-o", "OUT", "SOURCE"}, run: []string{"OUT", "STOP"}},
	lammps,
}

// bash is an entry whose root is a script for bash.
func bash(name, source string, packages ...string) entry {
	return entry{name: name, packages: packages, source: source, run: []string{"bash", "SOURCE", "STOP"}}
}

// killed is for programs that overwrite or remove their files: they end with
// each checkpoint, as a job does whose time is up. What a program does to its files
// after a checkpoint is not undone.
func killed(e entry) entry {
	e.flags = append(e.flags, "--kill")
	return e
}

// unprivileged is for servers that don't serve root, or change the user then.
func unprivileged(e entry) entry {
	e.ordinary = true
	return e
}
