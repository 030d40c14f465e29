# R: a random stream beside its twin, closures and a list, checked at every step.
stopfile <- commandArgs(trailingOnly = TRUE)[1]
counter <- function() { n <- 0; function() { n <<- n + 1; n } }
say <- function(...) { cat(..., "\n", sep = ""); flush(stdout()) }
nxt <- counter(); values <- list(); set.seed(42); seed <- .Random.seed; m <- matrix(sin(1:10000), 100)
say("ready"); n <- 0
while (!file.exists(stopfile)) {
  n <- n + 1; say("step ", n)
  stopifnot(nxt() == n)
  values[[n]] <- n
  stopifnot(sum(unlist(values)) == n * (n + 1) / 2)
  a <- runif(5); .Random.seed <- seed; b <- runif(5); seed <- .Random.seed
  stopifnot(identical(a, b), abs(sum(solve(crossprod(m) + diag(100)) %*% (crossprod(m) + diag(100))) - 100) < 1e-4)
}
say("PASS")
