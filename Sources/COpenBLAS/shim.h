// The Debian package of OpenBLAS carries LAPACK's symbols but no header for them: declared by hand, 32-bit integers.
// gfortran passes the length of each character argument at the end of the list; every one here is 1.
#ifndef MMED_COPENBLAS_SHIM_H
#define MMED_COPENBLAS_SHIM_H

#include <cblas.h>
#include <stddef.h>

// QR of a column-major matrix, and the explicit Q.
void sgeqrf_(const int *rows, const int *columns, float *a, const int *lda, float *tau, float *work,
             const int *workCount, int *info);
void sorgqr_(const int *rows, const int *columns, const int *reflectors, float *a, const int *lda, const float *tau,
             float *work, const int *workCount, int *info);

// Singular values and vectors by divide and conquer.
void sgesdd_(const char *job, const int *rows, const int *columns, float *a, const int *lda, float *s, float *u,
             const int *ldu, float *vt, const int *ldvt, float *work, const int *workCount, int *integerWork, int *info,
             size_t jobLength);

// Chosen eigenvalues and vectors of a symmetric matrix by relatively robust representations.
void dsyevr_(const char *job, const char *range, const char *triangle, const int *order, double *a, const int *lda,
             const double *lowest, const double *highest, const int *first, const int *last, const double *tolerance,
             int *found, double *values, double *vectors, const int *ldVectors, int *support, double *work,
             const int *workCount, int *integerWork, const int *integerWorkCount, int *info, size_t jobLength,
             size_t rangeLength, size_t triangleLength);

#endif
