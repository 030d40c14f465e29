package main

// entry is a program to try: what it needs, how it is built and started.
type entry struct {
	name     string
	packages []string // of Debian
	source   string   // in src
	compile  []string // SOURCE and OUT are replaced
	run      []string // SOURCE, OUT and STOP are replaced; the first word must be installed
	flags    []string // for crtrace checkpoint
}

var entries = []entry{
	{name: "perl", packages: []string{"perl"}, source: "prog.pl", run: []string{"perl", "SOURCE", "STOP"}},
	{name: "lua", packages: []string{"lua5.4"}, source: "prog.lua", run: []string{"lua5.4", "SOURCE", "STOP"}},
	{name: "python", packages: []string{"python3"}, source: "prog.py", run: []string{"/usr/bin/python3", "SOURCE", "STOP"}},
	{name: "numpy", packages: []string{"python3-numpy", "libopenblas0-pthread"}, source: "prog_numpy.py",
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
