// Package snapshot is the image format: the state of a process tree as data,
// and the writer and reader of the directory that holds it on disk.
//
// In a nutshell: a [Manifest] describes the tree. It lies in manifest.json in a
// canonical encoding (one valid form for each content), with its SHA-256 beside
// it. Bulk data lies in files that the manifest names: pages in stores (a map
// of fixed-width records and a page file), extended register states, copies of
// files. A [Writer] fills a hidden directory and renames it at the end: there is
// a whole image or none. An [Image] believes nothing that it reads: whatever is
// wrong is a [CorruptError] with file and offset. docs/format.md is the
// specification.
//
// Everything here is plain Go without system calls of its own, so that images
// can be read, and the reader fuzzed, on any system.
//
// Concurrency: Writer and Image may be used by several goroutines, a
// StoreWriter by one at a time; different StoreWriters are independent. A
// StoreReader may be shared. Manifests are plain data without synchronisation.
package snapshot
