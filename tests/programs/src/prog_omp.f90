! OpenMP in Fortran: a heat equation whose total stays the same, checked at every step.
program heat
  use omp_lib
  implicit none
  integer, parameter :: m = 400
  real(8) :: a(m, m), b(m, m), total
  integer :: n, i, j
  logical :: stop_now
  character(len=512) :: stopfile
  call get_command_argument(1, stopfile)
  call omp_set_num_threads(4)
  a = 0
  a(m/2, m/2) = 1000
  write (*, '(A)') 'ready'
  flush (6)
  n = 0
  do
    inquire (file=trim(stopfile), exist=stop_now)
    if (stop_now) exit
    n = n + 1
    write (*, '(A,I0)') 'step ', n
    flush (6)
    !$omp parallel do private(i)
    do j = 1, m
      do i = 1, m
        b(i, j) = 0.2d0*(a(i, j) + a(modulo(i, m) + 1, j) + a(modulo(i - 2, m) + 1, j) &
                         + a(i, modulo(j, m) + 1) + a(i, modulo(j - 2, m) + 1))
      end do
    end do
    !$omp end parallel do
    total = 0
    !$omp parallel do reduction(+:total)
    do j = 1, m
      total = total + sum(b(:, j))
    end do
    !$omp end parallel do
    if (abs(total - 1000) > 1d-6) then
      write (*, '(A,F20.10)') 'FAIL total ', total
      stop 1
    end if
    a = b
  end do
  write (*, '(A)') 'PASS'
end program
