# Perl: a hash, closures, a sorted list and regular expressions, checked at every step.
use strict; use warnings; $| = 1;
my ($stop, %h, $sum) = (shift, (), 0);
my @adders = map { my $k = $_; sub { $_[0] + $k } } 1 .. 10;
print "ready\n";
for (my $n = 1; !-e $stop; $n++) {
    print "step $n\n";
    $h{"key$n"} = $n * $n; $sum += $n * $n;
    my $got = 0; $got += $h{$_} for sort keys %h;
    die "FAIL hash\n" if $got != $sum || $sum != $n * ($n + 1) * (2 * $n + 1) / 6;
    my $v = $n; $v = $_->($v) for @adders;
    die "FAIL closures\n" if $v != $n + 55;
    die "FAIL regexp\n" if join(",", 1 .. $n) !~ /(?:^|,)$n$/;
    select undef, undef, undef, 0.02;
}
print "PASS\n";
