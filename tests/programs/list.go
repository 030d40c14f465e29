package main

// entry is a program to try: what it needs, how it is built and started, and how
// its work is seen. In command lines SOURCE is the source, SRC its directory, OUT what
// is built, STOP the file that tells the program to end, PEER the address of a server
// outside.
type entry struct {
	name     string
	packages []string // of Debian
	tools    []string // commands that must be there beside the first word of run
	modules  bool     // no command shows whether the packages are there
	large    bool     // -install leaves it alone
	ordinary bool     // it does not run as root
	source   string   // in src
	compile  []string
	run      []string // the first word must be installed
	flags    []string // for crtrace checkpoint

	progress func(*life) int   // how far it is, from 1; nil: the last "step N" of the output
	check    func(*life) error // the finished work; nil: the output is ready, steps, PASS

	refused string // what a checkpoint must say when it refuses this program
}

var entries = []entry{
	{name: "perl", packages: []string{"perl"}, source: "prog.pl", run: []string{"perl", "SOURCE", "STOP"}},
	{name: "lua", packages: []string{"lua5.4"}, source: "prog.lua", run: []string{"lua5.4", "SOURCE", "STOP"}},
	python("python", "prog.py"),
	{name: "numpy", packages: []string{"python3-numpy", "libopenblas0-pthread"}, modules: true, source: "prog_numpy.py",
		run: []string{"/usr/bin/python3", "SOURCE", "STOP"}},
	{name: "sqlite-wal", packages: []string{"python3"}, source: "prog_sqlite.py",
		run: []string{"/usr/bin/python3", "SOURCE", "STOP"}, flags: []string{"--save-files"}},
	{name: "openmp-c", packages: []string{"gcc", "libc6-dev"}, source: "prog_omp.c",
		compile: []string{"gcc", "-O2", "-fopenmp", "-o", "OUT", "SOURCE"}, run: []string{"OUT", "STOP"}},
	{name: "openmp-fortran", packages: []string{"gfortran"}, source: "prog_omp.f90",
		compile: []string{"gfortran", "-O2", "-fopenmp", "-o", "OUT", "SOURCE"}, run: []string{"OUT", "STOP"}},
	{name: "c++", packages: []string{"g++"}, source: "prog.cc",
		compile: []string{"g++", "-std=c++17", "-O2", "-pthread", "-o", "OUT", "SOURCE"}, run: []string{"OUT", "STOP"}},
	{name: "rust", packages: []string{"rustc"}, source: "prog.rs",
		compile: []string{"rustc", "-O", "-o", "OUT", "SOURCE"}, run: []string{"OUT", "STOP"}},
	{name: "octave", packages: []string{"octave"}, source: "prog.m",
		run: []string{"octave-cli", "--no-gui", "--quiet", "SOURCE", "STOP"}},
	{name: "r", packages: []string{"r-base-core"}, source: "prog.R",
		run: []string{"/usr/lib/R/bin/R", "--slave", "--no-save", "--file=SOURCE", "--args", "STOP"}},
	{name: "java", packages: []string{"default-jdk-headless"}, source: "Prog.java", run: []string{"java", "SOURCE", "STOP"}},
	{name: "node", packages: []string{"nodejs"}, source: "prog.js", run: []string{"node", "SOURCE", "STOP"}},
	{name: "ruby", packages: []string{"ruby"}, source: "prog.rb", run: []string{"ruby", "SOURCE", "STOP"}},
}

// python is an entry whose root is a script for Debian's python. -B: no
// compiled files among the sources.
func python(name, source string, packages ...string) entry {
	return entry{name: name, packages: append([]string{"python3"}, packages...), source: source,
		run: []string{"/usr/bin/python3", "-B", "SOURCE", "STOP"}}
}

// needing adds commands that an entry starts itself.
func (e entry) needing(tools ...string) entry {
	e.tools = tools
	return e
}
